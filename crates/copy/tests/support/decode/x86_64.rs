//! x86-64, by a disassembler that shares nothing with the assembler.

use copy::extable::{Direction, Reach};
use iced_x86::{
    Decoder, DecoderOptions, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, Register,
};

use super::{Accessing, Decoded};

/// All accesses to memory in `code`, but for the return address.
pub fn accesses(code: &[u8]) -> Vec<Accessing> {
    let mut factory = InstructionInfoFactory::new();
    Decoder::with_ip(64, code, 0, DecoderOptions::NONE)
        .iter()
        .filter_map(|instruction| {
            assert!(
                !instruction.is_invalid(),
                "undecodable at {:#x}",
                instruction.ip()
            );
            let access = access(&instruction, &mut factory)?;
            Some(Accessing {
                offset: instruction.ip() as usize,
                access,
            })
        })
        .collect()
}

fn access(instruction: &Instruction, factory: &mut InstructionInfoFactory) -> Option<Decoded> {
    let (rsi, rdi) = (number(Register::RSI), number(Register::RDI));
    match instruction.mnemonic() {
        Mnemonic::Ret => return None,
        Mnemonic::Movsb => {
            assert!(instruction.has_rep_prefix());
            return Some(Decoded::Copy {
                source: rsi,
                destination: rdi,
                reach: Reach::Bytes256,
            });
        }
        // It stores 64 bytes at a time at most, so that is how far it may be ahead.
        Mnemonic::Stosb => {
            assert!(instruction.has_rep_prefix());
            let direction = Direction::Store;
            return Some(Decoded::Single {
                direction,
                base: rdi,
                offset: 0,
                width: 64,
            });
        }
        _ => {}
    }
    let used: Vec<_> = factory
        .info(instruction)
        .used_memory()
        .iter()
        .filter(|memory| memory.access() != OpAccess::NoMemAccess)
        .copied()
        .collect();
    let [memory] = used[..] else {
        assert!(
            used.is_empty(),
            "several accesses at {:#x}",
            instruction.ip()
        );
        return None;
    };
    assert_eq!(
        memory.index(),
        Register::None,
        "an entry cannot name an index register"
    );
    let direction = match memory.access() {
        OpAccess::Read => Direction::Load,
        OpAccess::Write => Direction::Store,
        other => panic!("{other:?} at {:#x}", instruction.ip()),
    };
    Some(Decoded::Single {
        direction,
        base: number(memory.base()),
        offset: memory.displacement() as i16,
        width: memory.memory_size().size() as u8,
    })
}

fn number(register: Register) -> u8 {
    assert!(register.is_gpr64());
    register.number() as u8
}
